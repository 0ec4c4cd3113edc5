using System;
using System.Buffers;
using System.Collections;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Management.Automation;
using System.Management.Automation.Language;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Security;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Xml;

namespace SecretBridge.Pode;

/// <summary>
/// The text of an object that blocks share: canonical JSON, in which equal objects are equal. What cannot travel is named in it by
/// its type, and stays in its place.
/// </summary>
public sealed class SharedText
{
    // So deep a container goes, and no deeper.
    private const int Deepest = 64;

    // A block that came in a text goes as it came.
    private static readonly ConditionalWeakTable<ScriptBlock, string[]> s_blocks = new();

    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    private readonly Dictionary<object, int> _known = new(ReferenceEqualityComparer.Instance);

    private readonly List<string> _path = [];

    private readonly List<string> _stays = [];

    private readonly Utf8JsonWriter _writer;

    private SharedText(Utf8JsonWriter writer) => _writer = writer;

    /// <summary>The text.</summary>
    public string Text { get; private set; } = "";

    /// <summary>The places of what cannot travel, each with its type.</summary>
    public string[] Stays { get; private set; } = [];

    /// <summary>An object's text.</summary>
    public static SharedText Of(object? value)
    {
        ArrayBufferWriter<byte> memory = new();
        using Utf8JsonWriter writer = new(memory, s_options);
        SharedText text = new(writer);
        try
        {
            text.Write(value);
            writer.Flush();
            text.Text = Encoding.UTF8.GetString(memory.WrittenSpan);
            text.Stays = [.. text._stays];
            return text;
        }
        finally
        {
            // Wipes it.
            memory.Clear();
        }
    }

    /// <summary>Whether a value is an object that changes, so that all blocks must have the same one.</summary>
    public static bool IsContainer(object? value) =>
        PlainJson.Bare(value) is object bare and not (string or ValueType or byte[]) && SharedKinds.Of(bare) is not null;

    internal static void Keep(ScriptBlock block, string[] texts) => s_blocks.AddOrUpdate(block, texts);

    private void Write(object? value)
    {
        object? bare = PlainJson.Bare(value);
        switch (bare)
        {
            case null:
                _writer.WriteNullValue();
                return;
            case string text:
                _writer.WriteStringValue(Values.Checked(text));
                return;
            case bool flag:
                _writer.WriteBooleanValue(flag);
                return;
            case int number:
                _writer.WriteNumberValue(number);
                return;
        }
        if (Simple(bare) is string[] simple)
        {
            _writer.WriteStartArray();
            Array.ForEach(simple, text => _writer.WriteStringValue(text));
            _writer.WriteEndArray();
        }
        else if (_known.TryGetValue(bare, out int at))
        {
            _writer.WriteStartArray();
            _writer.WriteStringValue("ref");
            _writer.WriteNumberValue(at);
            _writer.WriteEndArray();
        }
        else
        {
            WriteContainer(bare);
        }
    }

    private void WriteContainer(object bare)
    {
        (string What, string Kind)? found = _path.Count >= Deepest ? null : SharedKinds.Of(bare);
        _writer.WriteStartArray();
        if (found is not (string what, string kind))
        {
            string type = PlainJson.Text(PlainJson.TypeOf(bare));
            _stays.Add($"'{string.Join('.', _path)}' ({type})");
            _writer.WriteStringValue("stays");
            _writer.WriteStringValue(type);
            _writer.WriteEndArray();
            return;
        }
        _known.Add(bare, _known.Count);
        _writer.WriteStringValue(what);
        _writer.WriteStringValue(kind);
        switch (bare)
        {
            case PSObject custom:
                foreach (PSPropertyInfo property in custom.Properties.Where(property => property.MemberType == PSMemberTypes.NoteProperty))
                {
                    WriteMember(property.Name, property.Value);
                }
                break;
            case IDictionary table when what == SharedKinds.Table:
                WriteTable(table);
                break;
            default:
                int at = 0;
                foreach (object? item in Items((IEnumerable)bare))
                {
                    WriteAt((at++).ToString(CultureInfo.InvariantCulture), item);
                }
                break;
        }
        _writer.WriteEndArray();
    }

    private void WriteMember(object key, object? value)
    {
        Write(key);
        WriteAt(PlainJson.Text(key), value);
    }

    private void WriteAt(string place, object? value)
    {
        _path.Add(place);
        Write(value);
        _path.RemoveAt(_path.Count - 1);
    }

    // A table without an order of its own is written in the order of its keys.
    private void WriteTable(IDictionary table)
    {
        IEnumerable<DictionaryEntry> members = table.Keys.Cast<object>().Select(key => new DictionaryEntry(key, table[key]));
        if (SharedKinds.IsUnordered(table))
        {
            members = members.OrderBy(member => SortName(member.Key), StringComparer.Ordinal);
        }
        foreach (DictionaryEntry member in members)
        {
            WriteMember(member.Key, member.Value);
        }
    }

    private static string SortName(object key) =>
        PlainJson.Bare(key) as string ?? $"\0{PlainJson.TypeOf(key)}\0{PlainJson.Text(key)}";

    /// <summary>The items of a list, a stack from its bottom.</summary>
    internal static IEnumerable<object?> Items(IEnumerable list) =>
        SharedKinds.IsStack(list) ? list.Cast<object?>().Reverse() : list.Cast<object?>();

    // A value without members as texts, its kind first; null for what has members, or cannot travel.
    private static string[]? Simple(object bare)
    {
        CultureInfo invariant = CultureInfo.InvariantCulture;
        return bare switch
        {
            byte or sbyte or short or ushort or uint or long or ulong or float or double or decimal or BigInteger =>
                ["number", bare.GetType().Name, ((IFormattable)bare).ToString(null, invariant)],
            DateTime date => ["date", date.ToString("o", invariant)],
            char one => ["char", ((int)one).ToString(invariant)],
            TimeSpan span => ["span", span.Ticks.ToString(invariant)],
            DateTimeOffset date => ["offset", date.ToString("o", invariant)],
            Guid guid => ["guid", guid.ToString()],
            Enum word => ["enum", PlainJson.Text(word.GetType()), word.ToString()],
            byte[] bytes => ["bytes", Convert.ToBase64String(bytes)],
            SecureString secure => ["secure", Values.Checked(SecureText.Reveal(secure))],
            PSCredential credential => ["credential", Values.Checked(credential.UserName), Values.Checked(SecureText.Reveal(credential.Password))],
            Uri or Version or XmlDocument => ["clixml", PSSerializer.Serialize(bare)],
            ScriptBlock block => Block(block),
            _ => null,
        };
    }

    // One with `$using:` has values of the place that it stands in.
    private static string[]? Block(ScriptBlock block)
    {
        if (s_blocks.TryGetValue(block, out string[]? known))
        {
            return known;
        }
        if (block.Ast.Find(node => node is UsingExpressionAst, true) is not null || PlainJson.Bare(Portable.FromBlock?.Invoke(block)) is not IDictionary sent)
        {
            return null;
        }
        return ["block", PlainJson.Text(sent["text"]), PlainJson.Text(sent["file"]), PlainJson.Text(sent["line"])];
    }
}

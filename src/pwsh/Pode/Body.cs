using System;
using System.Collections;
using System.IO;
using System.Management.Automation;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml;

namespace SecretBridge.Pode;

/// <summary>A request's body by its media type.</summary>
public sealed class Body
{
    private static readonly Regex Charset = new("""^\s*charset\s*=\s*"?(?<name>[^"\s]+)"?\s*$""", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant);

    /// <summary>Gives the rows of a CSV text.</summary>
    public static Func<string, object?>? ReadCsv { get; set; }

    /// <summary>What `$WebEvent.Data` is.</summary>
    public object? Data { get; private set; } = Values.NewTable();

    /// <summary>Files of a multipart body, by their names.</summary>
    public Hashtable Files { get; } = Values.NewTable();

    /// <summary>The body as text.</summary>
    public string Text { get; private set; } = "";

    /// <summary>Reads a body; throws where it is not what its type says.</summary>
    public static Body Read(byte[] bytes, string contentType)
    {
        Body body = new();
        if (bytes.Length == 0)
        {
            return body;
        }
        (string type, Encoding encoding) = Split(contentType);
        if (type == "multipart/form-data")
        {
            Multipart.Read(bytes, contentType, (Hashtable)body.Data!, body.Files);
            return body;
        }
        body.Text = Decode(bytes, type, encoding);
        if (!string.IsNullOrWhiteSpace(body.Text))
        {
            body.Data = Parse(body.Text, type);
        }
        return body;
    }

    private static object? Parse(string text, string type)
    {
        if (type.EndsWith("/json", StringComparison.Ordinal))
        {
            return PlainJson.ParseTables(text);
        }
        if (type.EndsWith("/xml", StringComparison.Ordinal))
        {
            return ReadXml(text);
        }
        if (type.EndsWith("/csv", StringComparison.Ordinal) && ReadCsv is not null)
        {
            return ReadCsv(text);
        }
        return type.Length == 0 || type.EndsWith("/x-www-form-urlencoded", StringComparison.Ordinal) ? ReadLoose(text) : text;
    }

    // The media type without its parameters, and the charset's encoding.
    private static (string Type, Encoding Encoding) Split(string contentType)
    {
        string[] parts = contentType.Split(';');
        Encoding encoding = Values.StrictUtf8;
        foreach (string part in parts)
        {
            Match named = Charset.Match(part);
            if (!named.Success)
            {
                continue;
            }
            try
            {
                encoding = Encoding.GetEncoding(named.Groups["name"].Value, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback);
            }
            catch (Exception exception) when (exception is ArgumentException or NotSupportedException)
            {
                throw new BadBodyException($"the charset '{named.Groups["name"].Value}' is not known");
            }
        }
        return (parts[0].Trim().ToLowerInvariant(), encoding);
    }

    private static string Decode(byte[] bytes, string type, Encoding encoding)
    {
        string text;
        try
        {
            text = encoding.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            foreach (string kind in new[] { "/json", "/xml", "/csv", "/x-www-form-urlencoded" })
            {
                if (type.EndsWith(kind, StringComparison.Ordinal))
                {
                    throw new BadBodyException("the body is not valid in its charset");
                }
            }
            text = Encoding.Latin1.GetString(bytes);
        }
        return text.Length > 0 && text[0] == '\uFEFF' ? text[1..] : text;
    }

    private static XmlDocument ReadXml(string text)
    {
        XmlReaderSettings settings = new() { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null };
        XmlDocument document = new() { XmlResolver = null };
        try
        {
            using XmlReader reader = XmlReader.Create(new StringReader(text), settings);
            document.Load(reader);
            return document;
        }
        catch (XmlException)
        {
            throw new BadBodyException("the body is not valid XML");
        }
    }

    // A form, or no type at all: JSON that a client sent without saying so is taken as JSON.
    private static object? ReadLoose(string text)
    {
        int quote = text.IndexOfAny(['{', '"', '=']);
        if (text.AsSpan().TrimStart().StartsWith("{") && text[quote] != '=')
        {
            try
            {
                return PlainJson.ParseTables(text);
            }
            catch (BadBodyException)
            {
                // A form it is.
            }
        }
        return FormText.Parse(text);
    }
}
